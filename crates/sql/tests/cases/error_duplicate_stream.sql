-- error duplicate-name 6:15
-- column "i" INTEGER $.i
-- column "s" VARCHAR(9) $.s
-- column "t" TIMESTAMP $.t
CREATE OR REPLACE STREAM d (v INTEGER);
CREATE STREAM d (v INTEGER);
