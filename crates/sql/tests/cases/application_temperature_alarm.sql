-- rows
-- Sensors: an alarm opens above a threshold held for two readings, and closes when the values are normal again.
-- column "device" VARCHAR(12) $.device.id
-- column "celsius" DECIMAL(5,1) $.reading.celsius
-- input {"t":1000,"json":{"device":{"id":"oven-1"},"reading":{"celsius":71.0}}}
-- input {"t":2000,"json":{"device":{"id":"oven-1"},"reading":{"celsius":80.55}}}
-- input {"t":3000,"json":{"device":{"id":"oven-1"},"reading":{"celsius":81}}}
-- input {"t":4000,"json":{"device":{"id":"oven-2"},"reading":{"celsius":"90.1"}}}
-- input {"t":5000,"json":{"device":{"id":"oven-1"},"reading":{"celsius":75}}}
-- input {"t":6000,"json":{"device":{"id":"oven-2"},"reading":{}}}
-- output LEVELS {"DEVICE":"oven-1","CELSIUS":71.0,"ABOVE":false,"ABOVE_BEFORE":false}
-- output LEVELS {"DEVICE":"oven-1","CELSIUS":80.6,"ABOVE":true,"ABOVE_BEFORE":false}
-- output LEVELS {"DEVICE":"oven-1","CELSIUS":81.0,"ABOVE":true,"ABOVE_BEFORE":true}
-- output ALARMS {"DEVICE":"oven-1","CELSIUS":81.0,"STATE":"OPEN"}
-- output LEVELS {"DEVICE":"oven-2","CELSIUS":90.1,"ABOVE":true,"ABOVE_BEFORE":false}
-- output LEVELS {"DEVICE":"oven-1","CELSIUS":75.0,"ABOVE":false,"ABOVE_BEFORE":true}
-- output ALARMS {"DEVICE":"oven-1","CELSIUS":75.0,"STATE":"CLOSED"}
CREATE OR REPLACE STREAM "LEVELS" (device VARCHAR(12), celsius DECIMAL(5,1), above BOOLEAN, above_before BOOLEAN);
CREATE OR REPLACE PUMP "LEVELS_PUMP" AS INSERT INTO "LEVELS"
SELECT STREAM device, celsius, above, LAG(above, 1, FALSE) OVER (PARTITION BY device ROWS 1 PRECEDING)
FROM (SELECT STREAM "device" AS device, "celsius" AS celsius, "celsius" > 80 AS above FROM "SOURCE_SQL_STREAM_001" WHERE "celsius" IS NOT NULL);

CREATE OR REPLACE STREAM "ALARMS" (device VARCHAR(12), celsius DECIMAL(5,1), state VARCHAR(6));
CREATE OR REPLACE PUMP "ALARMS_PUMP" AS INSERT INTO "ALARMS"
SELECT STREAM device, celsius, CASE WHEN above THEN 'OPEN' ELSE 'CLOSED' END
FROM (SELECT STREAM device, celsius, above, above_before, LAG(above_before, 1, FALSE) OVER (PARTITION BY device ROWS 1 PRECEDING) AS open_before FROM "LEVELS")
WHERE (above AND above_before AND NOT open_before) OR (NOT above AND above_before);
