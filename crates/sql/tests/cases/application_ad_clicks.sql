-- rows
-- Advertising: impressions and clicks by campaign, and the rate of both at ends of ten seconds.
-- column "campaign" VARCHAR(8) $.campaign
-- column "action" VARCHAR(12) $.action
-- column "user" VARCHAR(8) $.user
-- input {"t":1000,"json":{"campaign":"c1","action":"impression","user":"u1"}}
-- input {"t":2000,"json":{"campaign":"c1","action":"impression","user":"u2"}}
-- input {"t":2500,"json":{"campaign":"c1","action":"click","user":"u2"}}
-- input {"t":3000,"json":{"campaign":"c2","action":"impression","user":"u1"}}
-- input {"bound":10000}
-- output IMPRESSIONS {"CAMPAIGN":"c1","N":2}
-- output IMPRESSIONS {"CAMPAIGN":"c2","N":1}
-- output CLICKS {"CAMPAIGN":"c1","N":1}
-- output RATES {"CAMPAIGN":"c1","RATE":0.5}
CREATE OR REPLACE STREAM "IMPRESSIONS" (campaign VARCHAR(8), n INTEGER);
CREATE OR REPLACE STREAM "CLICKS" (campaign VARCHAR(8), n INTEGER);
CREATE OR REPLACE STREAM "RATES" (campaign VARCHAR(8), rate DOUBLE);
CREATE OR REPLACE PUMP "I_PUMP" AS INSERT INTO "IMPRESSIONS"
SELECT STREAM "campaign", COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s WHERE "action" = 'impression' GROUP BY "campaign", STEP(s.ROWTIME BY INTERVAL '10' SECOND);
CREATE OR REPLACE PUMP "C_PUMP" AS INSERT INTO "CLICKS"
SELECT STREAM "campaign", COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s WHERE "action" = 'click' GROUP BY "campaign", STEP(s.ROWTIME BY INTERVAL '10' SECOND);
CREATE OR REPLACE PUMP "R_PUMP" AS INSERT INTO "RATES"
SELECT STREAM i.campaign, CAST(c.n AS DOUBLE) / i.n FROM "IMPRESSIONS" AS i, "CLICKS" AS c WHERE i.ROWTIME = c.ROWTIME AND i.campaign = c.campaign;
