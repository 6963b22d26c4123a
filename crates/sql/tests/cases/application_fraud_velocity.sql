-- rows
-- Payments: more than two payments of a card within a minute, or payments in two countries, are reported at once.
-- column "card" VARCHAR(16) $.card
-- column "country" VARCHAR(2) $.country
-- column "amount" DECIMAL(10,2) $.amount
-- input {"t":1000,"json":{"card":"4111","country":"DE","amount":9.5}}
-- input {"t":2000,"json":{"card":"4222","country":"FR","amount":100}}
-- input {"t":30000,"json":{"card":"4111","country":"US","amount":1000.125}}
-- input {"t":40000,"json":{"card":"4111","country":"DE","amount":3}}
-- input {"t":120000,"json":{"card":"4111","country":"DE","amount":1}}
-- output SUSPECTS {"CARD":"***111","PAYMENTS":2,"TOTAL":1009.63,"REASON":"countries"}
-- output SUSPECTS {"CARD":"***111","PAYMENTS":3,"TOTAL":1012.63,"REASON":"countries"}
CREATE OR REPLACE STREAM "SUSPECTS" (card VARCHAR(16), payments BIGINT, total DECIMAL(12,2), reason VARCHAR(12));
CREATE OR REPLACE PUMP "SUSPECTS_PUMP" AS INSERT INTO "SUSPECTS"
SELECT STREAM card, n, total, CASE WHEN lowest <> highest THEN 'countries' ELSE 'velocity' END
FROM (SELECT STREAM '***' || SUBSTRING("card" FROM 2) AS card, COUNT(*) OVER w AS n, SUM("amount") OVER w AS total,
             MIN("country") OVER w AS lowest, MAX("country") OVER w AS highest
      FROM "SOURCE_SQL_STREAM_001"
      WINDOW w AS (PARTITION BY "card" RANGE INTERVAL '1' MINUTE PRECEDING))
WHERE n > 2 OR lowest <> highest;
