-- Cut a text into numbered pieces of at most so many characters, behind a separator where there is one.
CREATE OR REPLACE MACRO llm_split(content, separators, max_length) AS
    list_transform(
        [{
            'content': content::VARCHAR,
            'separators': list_filter(
                coalesce(separators::VARCHAR[], []), lambda separator: separator <> ''
            ),
            'size': CASE
                WHEN max_length >= 1 THEN floor(max_length)::BIGINT
                ELSE error('llm_split: the limit must be 1 or more, not ' || max_length)
            END
        }],
        lambda whole: CASE
            WHEN whole.content IS NULL OR whole.size IS NULL THEN NULL
            WHEN length(whole.content) <= whole.size
                THEN [{'content': whole.content, 'content_id': 0::INTEGER}]
            ELSE list_transform(
                [list_reduce(
                    list_transform(
                        -- Two pieces are longer than a window without the longest separator.
                        range(2 + 2 * length(whole.content) // greatest(1, whole.size + 1 - coalesce(
                            list_max(list_transform(whole.separators, lambda s: length(s))), 1
                        ))),
                        lambda i: [i]
                    ),
                    -- The ends of the pieces so far.
                    lambda ends, step: CASE
                        WHEN ends[-1] >= length(whole.content) THEN ends
                        ELSE list_append(ends, ends[-1] + list_transform(
                            [substring(whole.content, ends[-1] + 1, whole.size)],
                            lambda piece: coalesce(
                                list_max(list_transform(
                                    list_filter(whole.separators, lambda s: contains(piece, s)),
                                    lambda s: 1 + length(
                                        regexp_extract(piece, '(?s)^(.*)' || regexp_escape(s), 1)
                                    )
                                )),
                                length(piece)
                            )
                        )[1])
                    END,
                    [0::BIGINT]
                )],
                lambda ends: list_transform(
                    ends[2:],
                    lambda till, i: {
                        'content': substring(whole.content, ends[i] + 1, till - ends[i]),
                        'content_id': (i - 1)::INTEGER
                    }
                )
            )[1]
        END
    )[1];

COMMENT ON MACRO llm_split IS 'Cut a text into numbered pieces of at most so many characters, behind a separator where there is one.';

/*
query T
SELECT list_transform(llm_split('One. Two. Three', ['.'], 6), lambda piece: piece.content)
----
[One.,  Two.,  Three]

query T
SELECT list_transform(llm_split('abcdefgh', ['.'], 3), lambda piece: piece.content_id || piece.content)
----
[0abc, 1def, 2gh]

query T
SELECT list_transform(llm_split('a||b||cd', ['||'], 5), lambda piece: piece.content)
----
[a|, |b|, |cd]

query TT
SELECT llm_split('short', ['.'], 10)[1].content, len(llm_split('', ['.'], 10))
----
short	1

statement error
SELECT llm_split('short', ['.'], 0.3)
----
llm_split: the limit must be 1 or more, not 0.3

query TTT
SELECT llm_split(NULL, ['.'], 10), llm_split('abcd', ['.'], NULL), len(llm_split('abcd', NULL, 3))
----
NULL	NULL	2
*/
