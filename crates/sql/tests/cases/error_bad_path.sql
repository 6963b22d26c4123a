-- error config 1:1
-- column "a" INTEGER $x
CREATE STREAM d (v INTEGER);
