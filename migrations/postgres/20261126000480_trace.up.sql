-- Where in a trace a run was scheduled: a `traceparent` (W3C Trace Context), when traces are sent.
ALTER TABLE runs ADD COLUMN trace text;
