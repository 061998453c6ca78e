DROP TABLE function_versions;
DROP TABLE functions;
DROP TABLE syncs;
DROP TABLE apps;
DROP TABLE environments;
DROP TABLE organizations;
