-- rows
-- Alarms: an average over a window, and a change from below a threshold to above.
-- column "sensor" VARCHAR(8) $.sensor
-- column "temperature" DOUBLE $.temperature
-- input {"t":0,"json":{"sensor":"a","temperature":20}}
-- input {"t":1000,"json":{"sensor":"a","temperature":24}}
-- input {"t":2000,"json":{"sensor":"a","temperature":40}}
-- input {"t":3000,"json":{"sensor":"b","temperature":99}}
-- input {"t":4000,"json":{"sensor":"a","temperature":41}}
-- output ALARMS {"SENSOR":"a","AVERAGE":28,"STATE":"HIGH"}
-- output ALARMS {"SENSOR":"b","AVERAGE":99,"STATE":"HIGH"}
CREATE OR REPLACE STREAM averages_stream (s VARCHAR(8), average DOUBLE, before DOUBLE);
CREATE OR REPLACE STREAM alarms (sensor VARCHAR(8), average DOUBLE, state VARCHAR(4));
CREATE OR REPLACE PUMP alarm_pump AS INSERT INTO alarms
SELECT STREAM sensor, average, 'HIGH' FROM
  (SELECT STREAM sensor, average, LAG(average, 1, 0e0) OVER (PARTITION BY sensor ROWS 1 PRECEDING) AS before FROM
    (SELECT STREAM "sensor" AS sensor, AVG("temperature") OVER (PARTITION BY "sensor" RANGE INTERVAL '10' SECOND PRECEDING) AS average FROM "SOURCE_SQL_STREAM_001"))
WHERE average > 25e0 AND before <= 25e0;
