DROP TABLE change_log_state;
DROP TABLE change_log;
DROP SEQUENCE change_log_seq;
