-- Contexts, documents and tokenizers that no row refers to any more.
DELETE FROM context WHERE id NOT IN (SELECT context_id FROM source_context);
DELETE FROM document WHERE id NOT IN (SELECT document_id FROM context);
DELETE FROM vocab WHERE tokenizer_id NOT IN (SELECT tokenizer_id FROM source WHERE tokenizer_id IS NOT NULL
	UNION SELECT tokenizer_id FROM context WHERE tokenizer_id IS NOT NULL);
DELETE FROM tokenizer WHERE id NOT IN (SELECT tokenizer_id FROM source WHERE tokenizer_id IS NOT NULL
	UNION SELECT tokenizer_id FROM context WHERE tokenizer_id IS NOT NULL);
