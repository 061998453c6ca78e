ALTER TABLE rollups DROP COLUMN executing;
ALTER TABLE rollups DROP COLUMN backlog;
