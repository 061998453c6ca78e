DROP TABLE bulk_functions;
DROP TABLE bulk_operations;
