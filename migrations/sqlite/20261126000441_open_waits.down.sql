DROP INDEX waits_open;
