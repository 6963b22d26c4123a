-- rows
-- Paths: nested, in brackets, whole arrays, elements.
-- column "a" INTEGER $.x.y
-- column "b" VARCHAR(9) $['b c']
-- column "c" VARCHAR(20) $.l[0:]
-- column "d" INTEGER $.l[1]
-- column "e" VARCHAR(9) $.m[0].z
-- input {"x":{"y":7},"b c":"q","l":[1, 2],"m":[{"z":"w"}]}
-- output D {"A":7,"B":"q","C":"[1, 2]","D":2,"E":"w"}
CREATE STREAM d (a INTEGER, b VARCHAR(9), c VARCHAR(20), d INTEGER, e VARCHAR(9));
CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";
