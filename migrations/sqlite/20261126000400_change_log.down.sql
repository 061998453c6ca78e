DROP TABLE change_log_state;
DROP TABLE change_log;
