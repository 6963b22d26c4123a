-- rows
-- column "n" VARCHAR(4) $.n
-- column "pulse" INTEGER $.pulse
-- column "who" VARCHAR(4) $.who
-- input {"n":"1","pulse":5}
-- input {"n":"2"}
-- input {"n":"3","pulse":6}
-- output D {"N":"1","PULSE":5,"SCORE":0}
-- output D {"N":"2","PULSE":null,"SCORE":0}
-- output D {"N":"3","PULSE":6,"SCORE":0}
-- A row with a NULL has the score 0 and is not learned; text and DECIMAL columns don't count.
CREATE OR REPLACE STREAM d (n VARCHAR(4), pulse INTEGER, score DOUBLE);
CREATE OR REPLACE PUMP p AS INSERT INTO d
SELECT STREAM "n", "pulse", ANOMALY_SCORE
FROM TABLE(RANDOM_CUT_FOREST(CURSOR(SELECT STREAM "n", "pulse" FROM "SOURCE_SQL_STREAM_001")));
