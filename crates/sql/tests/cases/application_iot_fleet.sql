-- rows
-- Vehicles: event time beside ROWTIME; a late reading makes a second row for its own minute.
-- column "vehicle" VARCHAR(8) $.vehicle
-- column "kmh" INTEGER $.kmh
-- column "sent" BIGINT $.sent
-- input {"t":1000,"json":{"vehicle":"truck-1","kmh":80,"sent":1000}}
-- input {"t":20000,"json":{"vehicle":"truck-1","kmh":91,"sent":19000}}
-- input {"t":61000,"json":{"vehicle":"truck-1","kmh":60,"sent":30000}}
-- input {"t":62000,"json":{"vehicle":"truck-2","kmh":20,"sent":61500}}
-- input {"bound":120000}
-- output SPEED {"VEHICLE":"truck-1","MINUTE_SENT":"1970-01-01 00:00:00.000","MEAN":85,"FASTEST":91,"READINGS":2,"LATE":false}
-- output TOO_FAST {"VEHICLE":"truck-1","MESSAGE":"up to 91 km/h in 00:00"}
-- output SPEED {"VEHICLE":"truck-1","MINUTE_SENT":"1970-01-01 00:00:00.000","MEAN":60,"FASTEST":60,"READINGS":1,"LATE":true}
-- output SPEED {"VEHICLE":"truck-2","MINUTE_SENT":"1970-01-01 00:01:00.000","MEAN":20,"FASTEST":20,"READINGS":1,"LATE":false}
CREATE OR REPLACE STREAM "SPEED" (vehicle VARCHAR(8), minute_sent TIMESTAMP, mean INTEGER, fastest INTEGER, readings BIGINT, late BOOLEAN);
CREATE OR REPLACE PUMP "SPEED_PUMP" AS INSERT INTO "SPEED"
SELECT STREAM "vehicle", STEP(TO_TIMESTAMP("sent") BY INTERVAL '60' SECOND), AVG("kmh"), MAX("kmh"), COUNT(*),
       STEP(TO_TIMESTAMP("sent") BY INTERVAL '60' SECOND) < STEP(s.ROWTIME BY INTERVAL '60' SECOND)
FROM "SOURCE_SQL_STREAM_001" AS s
GROUP BY "vehicle", STEP(s.ROWTIME BY INTERVAL '60' SECOND), STEP(TO_TIMESTAMP("sent") BY INTERVAL '60' SECOND);

CREATE OR REPLACE STREAM "TOO_FAST" (vehicle VARCHAR(8), message VARCHAR(64));
CREATE OR REPLACE PUMP "TOO_FAST_PUMP" AS INSERT INTO "TOO_FAST"
SELECT STREAM vehicle, 'up to ' || CAST(fastest AS VARCHAR(5)) || ' km/h in ' || TIMESTAMP_TO_CHAR('HH:mm', minute_sent)
FROM "SPEED" WHERE fastest > 90;
