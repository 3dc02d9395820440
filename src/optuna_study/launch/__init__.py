"""The process without torch: prepare a study, start and supervise workers."""
