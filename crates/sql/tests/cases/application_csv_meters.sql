-- rows
-- Meters that send CSV: several readings in a record, differences between readings, and gaps.
-- schema {"RecordColumns":[{"Name":"meter","SqlType":"VARCHAR(8)"},{"Name":"reading","SqlType":"DOUBLE"},{"Name":"taken","SqlType":"TIMESTAMP"}],"RecordFormat":{"RecordFormatType":"CSV","MappingParameters":{"CSVMappingParameters":{"RecordRowDelimiter":"\n","RecordColumnDelimiter":","}}}}
-- input {"t":1000,"data":"m1,100.5,2024-03-05 10:00:00\nm2,7,2024-03-05 10:00:00\n"}
-- input {"t":61000,"data":"m1,103.25,2024-03-05 10:01:00\nm2,,2024-03-05 10:01:00"}
-- input {"t":121000,"data":"m1,x,2024-03-05 10:02:00\nm1,104,2024-03-05 10:03:00"}
-- output USED {"METER":"m1","USED":2.75,"MINUTES":1}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:02:01.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Coercion error","MESSAGE":"For input string: \"x\"","DATA_ROWTIME":"1970-01-01 00:02:01.000","DATA_ROW":"6D312C782C323032342D30332D30352031303A30323A30300A6D312C3130342C323032342D30332D30352031303A30333A3030","PUMP_NAME":"null"}
-- output USED {"METER":"m1","USED":0.75,"MINUTES":2}
CREATE OR REPLACE STREAM "USED" (meter VARCHAR(8), used DOUBLE, minutes BIGINT);
CREATE OR REPLACE PUMP "USED_PUMP" AS INSERT INTO "USED"
SELECT STREAM meter, reading - before_reading, CAST((taken - before_taken) MINUTE AS BIGINT)
FROM (SELECT STREAM "meter" AS meter, "reading" AS reading, "taken" AS taken,
             LAG("reading") OVER w AS before_reading, LAG("taken") OVER w AS before_taken
      FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (PARTITION BY "meter" ROWS 1 PRECEDING))
WHERE before_reading IS NOT NULL AND reading IS NOT NULL;
