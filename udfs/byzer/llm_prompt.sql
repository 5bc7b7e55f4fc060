-- Fill the places of a template: {0}, {1}, … by number, {} by turn, {2:default}, {:all} for a JSON list.
CREATE OR REPLACE MACRO llm_prompt(template, parameters) AS
    list_transform(
        [{
            'given': parameters::VARCHAR[],
            -- ${name} is a place of others, except ${} and ${:all}.
            'marks': regexp_extract_all(
                template::VARCHAR, '\$?\{(?:|:all|\s*[+-]?[0-9]{1,9}(?::[^}]*)?\s*)\}'
            ),
            'rest': regexp_split_to_array(
                template::VARCHAR, '\$?\{(?:|:all|\s*[+-]?[0-9]{1,9}(?::[^}]*)?\s*)\}'
            )
        }],
        lambda parts: CASE WHEN parts.given IS NOT NULL THEN
            array_to_string(list_transform(
                parts.rest,
                lambda text, i: text || list_transform(
                    [{
                        'mark': parts.marks[i],
                        'index': TRY_CAST(regexp_extract(parts.marks[i], '[+-]?[0-9]+') AS INTEGER),
                        'other': regexp_extract(parts.marks[i], '(?s)^[^:]*:(.*?)\s*\}$', 1)
                    }],
                    lambda place: CASE
                        WHEN place.mark IS NULL THEN ''
                        WHEN place.mark IN ('{}', '${}') THEN
                            CASE WHEN place.mark = '${}' THEN '$' ELSE '' END || coalesce(
                                parts.given[len(list_filter(
                                    parts.marks[:i], lambda mark: mark IN ('{}', '${}')
                                ))],
                                ''
                            )
                        WHEN place.mark IN ('{:all}', '${:all}')
                            THEN replace(place.mark, '{:all}', to_json(parts.given)::VARCHAR)
                        WHEN place.mark LIKE '$%' THEN place.mark
                        WHEN place.index BETWEEN 0 AND len(parts.given) - 1
                            THEN coalesce(parts.given[place.index + 1], '')
                        -- Not drawn: a query that is run in passes must find the same text again.
                        WHEN place.other = 'uuid()'
                            THEN md5(concat_ws(' ', i, parts.rest::VARCHAR, parts.given::VARCHAR))
                        WHEN place.other LIKE 'next(%,%)' THEN coalesce(
                            parts.given[nullif(list_position(
                                parts.given, trim(regexp_extract(place.other, '(?s)\(([^,]*),', 1))
                            ), 0) + 1],
                            trim(regexp_extract(place.other, '(?s),(.*)\)$', 1))
                        )
                        ELSE place.other
                    END
                )[1]
            ), '')
        END
    )[1];

COMMENT ON MACRO llm_prompt IS 'Fill the places of a template: {0}, {1}, … by number, {} by turn, {2:default}, {:all} for a JSON list.';

/*
query T
SELECT llm_prompt('{0} and {1}, {0} again, {} then {}', ['a', 'b'])
----
a and b, a again, a then b

query T
SELECT llm_prompt('{0}, {5:nobody}, {9}.{-1:none} {"json": {0}} ${0} ${}', ['Ann'])
----
Ann, nobody, .none {"json": Ann} ${0} $Ann

query T
SELECT llm_prompt('{0} {1} {:all}', ['{1}', NULL])
----
{1}  ["{1}",null]

query T
SELECT llm_prompt('{5:next(-size, 10)} {5:next(-colour, red)}', ['-size', '20'])
----
20 red

query TTT
SELECT llm_prompt(NULL, ['a']), llm_prompt('{0}', NULL), llm_prompt('{0:x}', [])
----
NULL	NULL	x
*/
