-- Second step: reads the tables once, under a lock that lets everybody read and write meanwhile.
ALTER TABLE events VALIDATE CONSTRAINT ids_bounded;
ALTER TABLE runs VALIDATE CONSTRAINT ids_bounded;
ALTER TABLE steps VALIDATE CONSTRAINT ids_bounded;
ALTER TABLE failed_attempts VALIDATE CONSTRAINT ids_bounded;
