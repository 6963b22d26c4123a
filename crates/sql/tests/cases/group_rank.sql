-- rows
-- Rows of one instant are a group; equal values share a rank; at most three rows, best first.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- input {"t":1000,"json":{"k":"a","n":5}}
-- input {"t":1000,"json":{"k":"b","n":9}}
-- input {"t":1000,"json":{"k":"c","n":5}}
-- input {"t":1000,"json":{"k":"d","n":1}}
-- input {"t":2000,"json":{"k":"e","n":2}}
-- input {"bound":3000}
-- output D {"K":"b","N":9,"R":1}
-- output D {"K":"a","N":5,"R":2}
-- output D {"K":"c","N":5,"R":2}
-- output D {"K":"e","N":2,"R":1}
CREATE OR REPLACE STREAM d (k VARCHAR(9), n INTEGER, r INTEGER);
CREATE OR REPLACE PUMP p AS INSERT INTO d SELECT STREAM "k", "n", "groupRank" FROM
TABLE(GROUP_RANK(CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 'n', 'place', 'desc', 'asc', 10, 3));
