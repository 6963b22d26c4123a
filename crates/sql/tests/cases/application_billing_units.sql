-- rows
-- Metering: usage in three units is converted by a function of the application, summed by hour, and bad units die alone.
-- column "tenant" VARCHAR(8) $.tenant
-- column "amount" BIGINT $.amount
-- column "unit" VARCHAR(4) $.unit
-- input {"t":1000,"json":{"tenant":"t1","amount":2,"unit":"KB"}}
-- input {"t":2000,"json":{"tenant":"t2","amount":1,"unit":"MB"}}
-- input {"t":3000,"json":{"tenant":"t1","amount":5,"unit":"XX"}}
-- input {"t":4000,"json":{"tenant":"t1","amount":100,"unit":"B"}}
-- input {"bound":3600000}
-- output error_stream {"ERROR_TIME":"1970-01-01 00:00:03.000","ERROR_LEVEL":"WARNING","ERROR_NAME":"Division by zero","MESSAGE":"division by zero","DATA_ROWTIME":"1970-01-01 00:00:03.000","DATA_ROW":"7B2274656E616E74223A227431222C22616D6F756E74223A352C22756E6974223A225858227D","PUMP_NAME":"USAGE_PUMP"}
-- output USAGE_HOUR {"TENANT":"t1","BYTES":2148,"KIB":2.098}
-- output USAGE_HOUR {"TENANT":"t2","BYTES":1048576,"KIB":1024.000}
CREATE OR REPLACE FUNCTION bytes_of (amount BIGINT, unit VARCHAR(4)) RETURNS BIGINT
  LANGUAGE SQL DETERMINISTIC CONTAINS SQL RETURNS NULL ON NULL INPUT
  RETURN CASE unit WHEN 'B' THEN amount WHEN 'KB' THEN amount * 1024 WHEN 'MB' THEN amount * 1048576 ELSE amount / 0 END;

CREATE OR REPLACE STREAM "USAGE_HOUR" (tenant VARCHAR(8), bytes BIGINT, kib DECIMAL(12,3));
CREATE OR REPLACE PUMP "USAGE_PUMP" AS INSERT INTO "USAGE_HOUR"
SELECT STREAM tenant, SUM(bytes), CAST(SUM(bytes) AS DECIMAL(12,3)) / 1024
FROM (SELECT STREAM "tenant" AS tenant, BYTES_OF("amount", "unit") AS bytes FROM "SOURCE_SQL_STREAM_001") AS u
GROUP BY tenant, FLOOR(u.ROWTIME TO HOUR);
