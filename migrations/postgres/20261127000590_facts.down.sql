ALTER TABLE failed_attempts DROP COLUMN response;
ALTER TABLE steps DROP COLUMN response;
