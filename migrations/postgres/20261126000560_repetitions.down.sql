DROP INDEX runs_repeated;
