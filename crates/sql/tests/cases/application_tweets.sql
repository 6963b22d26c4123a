-- rows
-- Messages: hashtags from a flattened array, the most frequent ones, and the number of distinct ones.
-- column "user" VARCHAR(16) $.user.screen_name
-- column "tag" VARCHAR(32) $.entities.hashtags[0:].text
-- input {"t":1000,"json":{"user":{"screen_name":"ada"},"entities":{"hashtags":[{"text":"rust"},{"text":"aws"}]}}}
-- input {"t":2000,"json":{"user":{"screen_name":"bob"},"entities":{"hashtags":[{"text":"rust"}]}}}
-- input {"t":3000,"json":{"user":{"screen_name":"cyd"},"entities":{"hashtags":[]}}}
-- input {"bound":60000}
-- output TAGS {"TAG":"#rust","AUTHOR":"ada"}
-- output TAGS {"TAG":"#aws","AUTHOR":"ada"}
-- output TAGS {"TAG":"#rust","AUTHOR":"bob"}
-- output TRENDS {"ITEM":"#rust","ITEM_COUNT":2}
-- output TRENDS {"ITEM":"#aws","ITEM_COUNT":1}
-- output VARIETY {"N":2}
CREATE OR REPLACE STREAM "TAGS" (tag VARCHAR(32), author VARCHAR(16));
CREATE OR REPLACE PUMP "TAGS_PUMP" AS INSERT INTO "TAGS" (author, tag)
SELECT STREAM "user", '#' || LOWER("tag") FROM "SOURCE_SQL_STREAM_001" WHERE "tag" IS NOT NULL;

CREATE OR REPLACE STREAM "TRENDS" (item VARCHAR(1024), item_count BIGINT);
CREATE OR REPLACE PUMP "TRENDS_PUMP" AS INSERT INTO "TRENDS"
SELECT STREAM * FROM TABLE(TOP_K_ITEMS_TUMBLING(CURSOR(SELECT STREAM * FROM "TAGS"), 'TAG', 3, 60));

CREATE OR REPLACE STREAM "VARIETY" (n BIGINT);
CREATE OR REPLACE PUMP "VARIETY_PUMP" AS INSERT INTO "VARIETY"
SELECT STREAM NUMBER_OF_DISTINCT_ITEMS FROM TABLE(COUNT_DISTINCT_ITEMS_TUMBLING(CURSOR(SELECT STREAM * FROM "TAGS"), 'TAG', 60));
