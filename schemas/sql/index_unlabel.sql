-- Take out what people and models said of the features of source ?1: they were other features.
DELETE FROM golden WHERE explanation_id IN (SELECT id FROM explanation WHERE source_id = ?1);
DELETE FROM score WHERE explanation_id IN (SELECT id FROM explanation WHERE source_id = ?1);
DELETE FROM request WHERE task_id IN (SELECT t.id FROM task t JOIN job j ON j.id = t.job_id WHERE j.source_id = ?1);
DELETE FROM task WHERE job_id IN (SELECT id FROM job WHERE source_id = ?1);
DELETE FROM worker WHERE job_id IN (SELECT id FROM job WHERE source_id = ?1);
DELETE FROM job WHERE source_id = ?1;
DELETE FROM explanation WHERE source_id = ?1;
DELETE FROM list_item WHERE source_id = ?1;
DELETE FROM note WHERE source_id = ?1;
