-- rows
-- Two kinds of events in one stream: orders are joined with their payments, and unpaid orders are reported.
-- column "kind" VARCHAR(8) $.kind
-- column "order_id" INTEGER $.order
-- column "cents" INTEGER $.cents
-- input {"t":1000,"json":{"kind":"order","order":1,"cents":500}}
-- input {"t":2000,"json":{"kind":"order","order":2,"cents":900}}
-- input {"t":5000,"json":{"kind":"payment","order":1,"cents":500}}
-- input {"bound":40000}
-- output ORDERS {"ID":1,"CENTS":500}
-- output ORDERS {"ID":2,"CENTS":900}
-- output PAYMENTS {"ID":1,"CENTS":500}
-- output SETTLED {"ID":1,"CENTS":500,"WAITED":4000}
-- output UNPAID {"ID":2,"CENTS":900}
CREATE OR REPLACE STREAM "ORDERS" (id INTEGER, cents INTEGER);
CREATE OR REPLACE STREAM "PAYMENTS" (id INTEGER, cents INTEGER);
CREATE OR REPLACE STREAM "SETTLED" (id INTEGER, cents INTEGER, waited BIGINT);
CREATE OR REPLACE STREAM "UNPAID" (id INTEGER, cents INTEGER);

CREATE OR REPLACE PUMP "ORDERS_PUMP" AS INSERT INTO "ORDERS" SELECT STREAM "order_id", "cents" FROM "SOURCE_SQL_STREAM_001" WHERE "kind" = 'order';
CREATE OR REPLACE PUMP "PAYMENTS_PUMP" AS INSERT INTO "PAYMENTS" SELECT STREAM "order_id", "cents" FROM "SOURCE_SQL_STREAM_001" WHERE "kind" = 'payment';
CREATE OR REPLACE PUMP "SETTLED_PUMP" AS INSERT INTO "SETTLED"
SELECT STREAM o.id, p.cents, TSDIFF(o.ROWTIME, p.ROWTIME)
FROM "ORDERS" OVER (RANGE INTERVAL '30' SECOND PRECEDING) AS o
JOIN "PAYMENTS" OVER (RANGE INTERVAL '30' SECOND PRECEDING) AS p ON o.id = p.id;
CREATE OR REPLACE PUMP "UNPAID_PUMP" AS INSERT INTO "UNPAID"
SELECT STREAM o.id, o.cents
FROM "ORDERS" OVER (RANGE INTERVAL '30' SECOND PRECEDING) AS o
LEFT JOIN "PAYMENTS" OVER (RANGE INTERVAL '30' SECOND PRECEDING) AS p ON o.id = p.id
WHERE p.id IS NULL;
