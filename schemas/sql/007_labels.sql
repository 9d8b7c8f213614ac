-- Gloss store, version 7: what a label was chosen by (scorer 'select') is not its score.

DROP VIEW newest_label;
CREATE VIEW newest_label AS       -- what current_label is to hold
	SELECT e.source_id, e.feature, e.id AS explanation_id, s.id AS score_id, s.value AS score
	FROM explanation e LEFT JOIN score s ON s.id =
		(SELECT max(x.id) FROM score x WHERE x.explanation_id = e.id AND x.scorer <> 'select')
	WHERE e.id = (SELECT max(y.id) FROM explanation y
		WHERE y.source_id = e.source_id AND y.feature = e.feature AND y.withdrawn IS NULL);
UPDATE current_label SET (score_id, score) =
		(SELECT n.score_id, n.score FROM newest_label n WHERE n.source_id = current_label.source_id AND n.feature = current_label.feature)
	WHERE score_id IN (SELECT id FROM score WHERE scorer = 'select');
DROP TRIGGER current_label_score;
CREATE TRIGGER current_label_score AFTER INSERT ON score WHEN new.scorer <> 'select' BEGIN
	UPDATE current_label SET score_id = new.id, score = new.value
		WHERE (source_id, feature) = (SELECT source_id, feature FROM explanation WHERE id = new.explanation_id)
		AND explanation_id = new.explanation_id AND new.id > ifnull(score_id, 0);
END;
DROP TRIGGER current_label_unscore;
CREATE TRIGGER current_label_unscore AFTER DELETE ON score BEGIN
	UPDATE current_label SET (score_id, score) =
			(SELECT id, value FROM score WHERE explanation_id = old.explanation_id AND scorer <> 'select' ORDER BY id DESC LIMIT 1)
		WHERE (source_id, feature) = (SELECT source_id, feature FROM explanation WHERE id = old.explanation_id)
		AND score_id = old.id;
END;

DROP VIEW np_explanation;
-- A label that was not withdrawn, as a row of its table Explanation.
CREATE VIEW np_explanation(
	"id", "modelId", "layer", "index", -- as in np_neuron
	"description", "notes",       -- notes: the rule that a program can apply
	"typeName", "explanationModelName", -- method and model
	"scores",                     -- JSON: as of its table ExplanationScore
	"createdAt",
	source_id, feature            -- ours, to select by
) AS
	SELECT CAST(e.id AS TEXT), ifnull(s.model, ''), s.name, CAST(e.feature AS TEXT), e.text, e.rule, e.method, e.model,
		(SELECT json_group_array(json_object('value', x.value, 'explanationScoreTypeName', x.scorer,
				'explanationScoreModelName', x.judge, 'jsonDetails', x.details, 'createdAt', x.created))
			FROM score x WHERE x.explanation_id = e.id AND x.scorer <> 'select'),
		e.created, e.source_id, e.feature
	FROM explanation e JOIN source s ON s.id = e.source_id WHERE e.withdrawn IS NULL;
