-- rows
-- Clickstream: sessions by a stagger window, with landing and exit page, and how long the visitor stayed.
-- column "visitor" VARCHAR(8) $.visitor
-- column "page" VARCHAR(32) $.page
-- column "at" TIMESTAMP $.at
-- input {"t":1000,"json":{"visitor":"v1","page":"/","at":"2024-03-05T10:00:00Z"}}
-- input {"t":4000,"json":{"visitor":"v2","page":"/shop","at":"2024-03-05T10:00:02Z"}}
-- input {"t":20000,"json":{"visitor":"v1","page":"/cart","at":"2024-03-05T10:00:25.5Z"}}
-- input {"t":70000,"json":{"visitor":"v1","page":"/again","at":"2024-03-05T10:01:12Z"}}
-- input {"bound":200000}
-- output SESSIONS {"VISITOR":"v1","PAGES":2,"LANDING":"/","LEAVING":"/cart","STAYED_SECONDS":25,"IS_BOUNCE":false}
-- output SESSIONS {"VISITOR":"v2","PAGES":1,"LANDING":"/shop","LEAVING":"/shop","STAYED_SECONDS":0,"IS_BOUNCE":true}
-- output SESSIONS {"VISITOR":"v1","PAGES":1,"LANDING":"/again","LEAVING":"/again","STAYED_SECONDS":0,"IS_BOUNCE":true}
CREATE OR REPLACE STREAM "SESSIONS" (visitor VARCHAR(8), pages BIGINT, landing VARCHAR(32), leaving VARCHAR(32), stayed_seconds INTEGER, is_bounce BOOLEAN);
CREATE OR REPLACE PUMP "SESSIONS_PUMP" AS INSERT INTO "SESSIONS"
SELECT STREAM "visitor", COUNT(*), FIRST_VALUE("page"), LAST_VALUE("page"),
       CAST(CAST((MAX("at") - MIN("at")) SECOND AS BIGINT) AS INTEGER), COUNT(*) = 1
FROM "SOURCE_SQL_STREAM_001"
WINDOWED BY STAGGER (PARTITION BY "visitor" RANGE INTERVAL '1' MINUTE);
