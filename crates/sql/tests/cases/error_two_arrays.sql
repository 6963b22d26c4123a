-- error config 1:1
-- column "a" INTEGER $.l[0:].b
-- column "b" INTEGER $.m[0:].b
CREATE STREAM d (v INTEGER);
