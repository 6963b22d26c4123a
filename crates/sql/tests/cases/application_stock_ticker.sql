-- rows
-- Stock prices: the filter, the aggregates and the moving average of the first tutorials.
-- column "ticker" VARCHAR(4) $.ticker
-- column "sector" VARCHAR(16) $.sector
-- column "change" REAL $.change
-- column "price" REAL $.price
-- input {"t":1000,"json":{"ticker":"WAS","sector":"RETAIL","change":-0.5,"price":12.25}}
-- input {"t":5000,"json":{"ticker":"QXZ","sector":"HEALTH","change":0.25,"price":60}}
-- input {"t":9000,"json":{"ticker":"WAS","sector":"RETAIL","change":1.5,"price":13.75}}
-- input {"t":61000,"json":{"ticker":"WAS","sector":"RETAIL","change":2.0,"price":15.75}}
-- input {"bound":120000}
-- output FALLING {"TICKER":"WAS","change":-0.5,"PRICE":12.25}
-- output MOVING {"TICKER":"WAS","PRICE":12.25,"MEAN":12.250,"EARLIER":null}
-- output MOVING {"TICKER":"QXZ","PRICE":60,"MEAN":60.000,"EARLIER":null}
-- output MOVING {"TICKER":"WAS","PRICE":13.75,"MEAN":13.000,"EARLIER":12.25}
-- output SECTOR_MINUTE {"SECTOR":"RETAIL","LOW":12.25,"HIGH":13.75,"MEAN":13,"TRADES":2}
-- output SECTOR_MINUTE {"SECTOR":"HEALTH","LOW":60,"HIGH":60,"MEAN":60,"TRADES":1}
-- output MOVING {"TICKER":"WAS","PRICE":15.75,"MEAN":13.917,"EARLIER":13.75}
-- output SECTOR_MINUTE {"SECTOR":"RETAIL","LOW":15.75,"HIGH":15.75,"MEAN":15.75,"TRADES":1}
CREATE OR REPLACE STREAM "FALLING" (ticker VARCHAR(4), "change" REAL, price REAL);
CREATE OR REPLACE STREAM "SECTOR_MINUTE" (sector VARCHAR(16), low REAL, high REAL, mean REAL, trades BIGINT);
CREATE OR REPLACE STREAM "MOVING" (ticker VARCHAR(4), price REAL, mean DECIMAL(8,3), earlier REAL);

CREATE OR REPLACE PUMP "FALLING_PUMP" AS INSERT INTO "FALLING"
SELECT STREAM "ticker", "change", "price" FROM "SOURCE_SQL_STREAM_001" WHERE "change" < 0 AND "sector" SIMILAR TO '%RET%|%TECH%';

CREATE OR REPLACE PUMP "SECTOR_PUMP" AS INSERT INTO "SECTOR_MINUTE"
SELECT STREAM "sector", MIN("price"), MAX("price"), AVG("price"), COUNT(*)
FROM "SOURCE_SQL_STREAM_001"
GROUP BY "sector", FLOOR("SOURCE_SQL_STREAM_001".ROWTIME TO MINUTE);

CREATE OR REPLACE PUMP "MOVING_PUMP" AS INSERT INTO "MOVING"
SELECT STREAM "ticker", "price", AVG("price") OVER last_minute, LAG("price") OVER last_minute
FROM "SOURCE_SQL_STREAM_001"
WINDOW last_minute AS (PARTITION BY "ticker" RANGE INTERVAL '1' MINUTE PRECEDING);
