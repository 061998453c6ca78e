-- Facts that people ask for and nothing is decided by. What the app answered that ended an attempt, or brought the result of a step.
ALTER TABLE steps ADD COLUMN response BLOB;
ALTER TABLE failed_attempts ADD COLUMN response BLOB;
