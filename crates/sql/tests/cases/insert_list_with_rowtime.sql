-- rows
-- ROWTIME in the column list sets the time of the row.
-- column "k" VARCHAR(9) $.k
-- column "n" INTEGER $.n
-- column "ms" BIGINT $.ms
-- input {"t":5000,"json":{"k":"a","n":1,"ms":1000}}
-- output D {"V":1}
-- output E {"T":"1970-01-01 00:00:01.000"}
CREATE STREAM d (v INTEGER);
CREATE STREAM e (t TIMESTAMP);
CREATE PUMP p AS INSERT INTO d (ROWTIME, v) SELECT STREAM TO_TIMESTAMP("ms"), "n" FROM "SOURCE_SQL_STREAM_001";
CREATE PUMP q AS INSERT INTO e SELECT STREAM d.ROWTIME FROM d;
