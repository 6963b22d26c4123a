-- rows
-- Device states: changes only, the time in each state, and devices that went silent are seen by their absence from the minute.
-- column "device" VARCHAR(8) $.device
-- column "state" VARCHAR(8) $.state
-- input {"t":1000,"json":{"device":"d1","state":"on"}}
-- input {"t":2000,"json":{"device":"d1","state":"on"}}
-- input {"t":5000,"json":{"device":"d1","state":"off"}}
-- input {"t":6000,"json":{"device":"d2","state":"on"}}
-- input {"t":65000,"json":{"device":"d2","state":"off"}}
-- input {"bound":120000}
-- output CHANGES {"DEVICE":"d1","STATE":"on","WAS":null,"AFTER_SECONDS":null}
-- output CHANGES {"DEVICE":"d1","STATE":"off","WAS":"on","AFTER_SECONDS":3}
-- output CHANGES {"DEVICE":"d2","STATE":"on","WAS":null,"AFTER_SECONDS":null}
-- output SEEN {"DEVICE":"d1","REPORTS":3,"ENDED":"1970-01-01 00:01:00.000"}
-- output SEEN {"DEVICE":"d2","REPORTS":1,"ENDED":"1970-01-01 00:01:00.000"}
-- output CHANGES {"DEVICE":"d2","STATE":"off","WAS":"on","AFTER_SECONDS":59}
-- output SEEN {"DEVICE":"d2","REPORTS":1,"ENDED":"1970-01-01 00:02:00.000"}
-- The repeated state is dropped in the outer query.
CREATE OR REPLACE STREAM "CHANGES" (device VARCHAR(8), state VARCHAR(8), was VARCHAR(8), after_seconds BIGINT);
CREATE OR REPLACE PUMP "CHANGES_PUMP" AS INSERT INTO "CHANGES"
SELECT STREAM device, state, was, TSDIFF(since, at) / 1000
FROM (SELECT STREAM s."device" AS device, s."state" AS state, s.ROWTIME AS at, // the time of the reading
             LAG(s."state") OVER w AS was, LAG(s.ROWTIME) OVER w AS since
      FROM "SOURCE_SQL_STREAM_001" AS s WINDOW w AS (PARTITION BY s."device" ROWS 1 PRECEDING)) AS c
WHERE c.was IS DISTINCT FROM c.state;

CREATE OR REPLACE STREAM "SEEN" (device VARCHAR(8), reports BIGINT, ended TIMESTAMP);
CREATE OR REPLACE PUMP "SEEN_PUMP" AS INSERT INTO "SEEN"
SELECT STREAM "device", COUNT(*), ROWTIME FROM "SOURCE_SQL_STREAM_001" AS s
GROUP BY "device", FLOOR((s.ROWTIME - TIMESTAMP '1970-01-01 00:00:00') minute / 1 TO MINUTE);
