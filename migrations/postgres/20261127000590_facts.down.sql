ALTER TABLE events DROP COLUMN sent_by;
ALTER TABLE events DROP COLUMN door;
ALTER TABLE runs DROP COLUMN idempotency_key;
ALTER TABLE runs DROP COLUMN cancelled_by;
ALTER TABLE runs DROP COLUMN started_by;
ALTER TABLE failed_attempts DROP COLUMN response;
ALTER TABLE steps DROP COLUMN response;
