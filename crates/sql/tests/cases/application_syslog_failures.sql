-- rows
-- System logs: failed logins are found by a regular expression and counted over five minutes.
-- column "message" VARCHAR(200) $
-- input {"t":1000,"json":{"a":"Mar  5 10:00:00 host sshd[7]: Failed password for root from 10.0.0.9 port 1"}}
-- input {"t":2000,"json":{"a":"Mar  5 10:00:01 host sshd[7]: Accepted password for bob from 10.0.0.3"}}
-- input {"t":3000,"json":{"a":"Mar  5 10:00:02 host sshd[7]: Failed password for bob from 10.0.0.9 port 2"}}
-- input {"bound":300000}
-- output FAILED {"ACCOUNT":"root","ADDRESS":"10.0.0.9"}
-- output FAILED {"ACCOUNT":"bob","ADDRESS":"10.0.0.9"}
-- output ATTACKS {"ADDRESS":"10.0.0.9","TRIES":2,"ACCOUNTS":2}
CREATE OR REPLACE STREAM "FAILED" (account VARCHAR(32), address VARCHAR(40));
CREATE OR REPLACE PUMP "FAILED_PUMP" AS INSERT INTO "FAILED"
SELECT STREAM f.r.COLUMN1, f.r.COLUMN2
FROM (SELECT STREAM REGEX_LOG_PARSE("message", '.*Failed password for (\w+) from ([0-9.]+).*') AS r FROM "SOURCE_SQL_STREAM_001") AS f
WHERE f.r.COLUMN1 IS NOT NULL;

CREATE OR REPLACE STREAM "ATTACKS" (address VARCHAR(40), tries BIGINT, accounts BIGINT);
CREATE OR REPLACE PUMP "ATTACKS_PUMP" AS INSERT INTO "ATTACKS"
SELECT STREAM address, COUNT(*), COUNT(DISTINCT account) FROM "FAILED"
GROUP BY address, STEP("FAILED".ROWTIME BY INTERVAL '5' MINUTE)
HAVING COUNT(*) >= 2;
