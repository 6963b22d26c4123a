-- error config 1:1
-- column "a" TEXT $.a
CREATE STREAM d (v INTEGER);
