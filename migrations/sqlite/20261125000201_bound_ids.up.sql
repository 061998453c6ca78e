-- SQLite has no partitions: retention deletes rows in batches.
SELECT 1;
