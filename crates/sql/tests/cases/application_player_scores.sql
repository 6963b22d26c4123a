-- rows
-- Games: points by level with a table of levels, the best of ten seconds, and a ranking.
-- column "player" VARCHAR(8) $.player
-- column "level" INTEGER $.level
-- column "points" INTEGER $.points
-- table Levels {"RecordColumns":[{"Name":"number","SqlType":"INTEGER"},{"Name":"name","SqlType":"VARCHAR(10)"},{"Name":"factor","SqlType":"INTEGER"}],"RecordFormat":{"RecordFormatType":"CSV","MappingParameters":{"CSVMappingParameters":{"RecordRowDelimiter":"\n","RecordColumnDelimiter":","}}}}
-- line Levels 1,forest,1
-- line Levels 2,cave,3
-- input {"t":1000,"json":{"player":"ada","level":1,"points":10}}
-- input {"t":2000,"json":{"player":"bob","level":2,"points":10}}
-- input {"t":3000,"json":{"player":"cyd","level":9,"points":1}}
-- input {"t":4000,"json":{"player":"ada","level":2,"points":5}}
-- input {"bound":10000}
-- output WEIGHTED {"PLAYER":"ada","LEVEL_NAME":"forest","POINTS":10}
-- output WEIGHTED {"PLAYER":"bob","LEVEL_NAME":"cave","POINTS":30}
-- output WEIGHTED {"PLAYER":"cyd","LEVEL_NAME":"unknown","POINTS":1}
-- output WEIGHTED {"PLAYER":"ada","LEVEL_NAME":"cave","POINTS":15}
-- output RANKING {"PLAYER":"bob","POINTS":30}
-- output RANKING {"PLAYER":"ada","POINTS":25}
-- output RANKING {"PLAYER":"cyd","POINTS":1}
CREATE OR REPLACE STREAM "WEIGHTED" (player VARCHAR(8), level_name VARCHAR(10), points INTEGER);
CREATE OR REPLACE PUMP "WEIGHTED_PUMP" AS INSERT INTO "WEIGHTED"
SELECT STREAM "player", COALESCE(l."name", 'unknown'), "points" * COALESCE(l."factor", 1)
FROM "SOURCE_SQL_STREAM_001" AS s LEFT JOIN "Levels" AS l ON s."level" = l."number";

CREATE OR REPLACE STREAM "RANKING" (player VARCHAR(8), points BIGINT);
CREATE OR REPLACE PUMP "RANKING_PUMP" AS INSERT INTO "RANKING"
SELECT STREAM player, SUM(points) AS total FROM "WEIGHTED" AS w
GROUP BY player, STEP(w.ROWTIME BY INTERVAL '10' SECOND)
ORDER BY STEP(w.ROWTIME BY INTERVAL '10' SECOND), SUM(points) DESC;
