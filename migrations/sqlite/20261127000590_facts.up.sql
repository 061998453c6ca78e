-- Facts that people ask for and nothing is decided by. What the app answered that ended an attempt, or brought the result of a step.
ALTER TABLE steps ADD COLUMN response BLOB;
ALTER TABLE failed_attempts ADD COLUMN response BLOB;
-- Who asked for a run or cancelled it, and the value of an idempotency expression that guards it.
ALTER TABLE runs ADD COLUMN started_by text;
ALTER TABLE runs ADD COLUMN cancelled_by text;
ALTER TABLE runs ADD COLUMN idempotency_key text;
-- Through which door an event came, and who sent it where that was an API.
ALTER TABLE events ADD COLUMN door smallint;
ALTER TABLE events ADD COLUMN sent_by text;
