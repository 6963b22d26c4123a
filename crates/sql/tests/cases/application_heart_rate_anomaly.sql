-- rows
-- Anomalies: heart rates are scored by a forest, and only high scores are sent on, the highest of a minute first.
-- column "rate" INTEGER $.rate
-- column "state" VARCHAR(8) $.state
-- input {"t":1000,"json":{"rate":60,"state":"RESTING"}}
-- input {"t":2000,"json":{"rate":62,"state":"RESTING"}}
-- input {"t":3000,"json":{"rate":61,"state":"RESTING"}}
-- input {"t":4000,"json":{"rate":63,"state":"RESTING"}}
-- input {"t":5000,"json":{"rate":60,"state":"RESTING"}}
-- input {"t":6000,"json":{"rate":62,"state":"RESTING"}}
-- input {"t":7000,"json":{"rate":61,"state":"RESTING"}}
-- input {"t":8000,"json":{"rate":60,"state":"RESTING"}}
-- input {"t":9000,"json":{"rate":63,"state":"RESTING"}}
-- input {"t":10000,"json":{"rate":62,"state":"RESTING"}}
-- input {"t":11000,"json":{"rate":61,"state":"RESTING"}}
-- input {"t":12000,"json":{"rate":60,"state":"RESTING"}}
-- input {"t":13000,"json":{"rate":62,"state":"RESTING"}}
-- input {"t":14000,"json":{"rate":150,"state":"RESTING"}}
-- input {"t":15000,"json":{"rate":61,"state":"RESTING"}}
-- input {"bound":120000}
-- output SCORED {"rate":60,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":62,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":61,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":63,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":60,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":62,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":61,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":60,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":63,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":62,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":61,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":60,"state":"RESTING","SCORED":false,"ANOMALY_SCORE":0}
-- output SCORED {"rate":62,"state":"RESTING","SCORED":true,"ANOMALY_SCORE":1}
-- output SCORED {"rate":150,"state":"RESTING","SCORED":true,"ANOMALY_SCORE":4}
-- output SCORED {"rate":61,"state":"RESTING","SCORED":true,"ANOMALY_SCORE":1}
-- output ANOMALIES {"rate":150,"IS_HIGH":true}
CREATE OR REPLACE STREAM "SCORED" ("rate" INTEGER, "state" VARCHAR(8), scored BOOLEAN, anomaly_score DECIMAL(4,0));
CREATE OR REPLACE PUMP "SCORED_PUMP" AS INSERT INTO "SCORED"
SELECT STREAM "rate", "state", ANOMALY_SCORE > 0, ANOMALY_SCORE
FROM TABLE(RANDOM_CUT_FOREST(CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 100, 12));

CREATE OR REPLACE STREAM "ANOMALIES" ("rate" INTEGER, is_high BOOLEAN);
CREATE OR REPLACE PUMP "ANOMALIES_PUMP" AS INSERT INTO "ANOMALIES"
SELECT STREAM "rate", anomaly_score > 2 FROM "SCORED" AS s WHERE anomaly_score > 2
ORDER BY FLOOR(s.ROWTIME TO MINUTE), anomaly_score DESC;
