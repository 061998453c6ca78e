-- How much of the schedule was due and under way, as the most of each bucket; null where nobody looked.
ALTER TABLE rollups ADD COLUMN backlog bigint;
ALTER TABLE rollups ADD COLUMN executing bigint;
