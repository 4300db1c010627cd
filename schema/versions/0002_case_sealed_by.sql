-- The user who sealed a case must be one. The index serves the key: without it, removing a user reads every case.
-- migrate:up
ALTER TABLE "case" ADD CONSTRAINT case_sealed_by FOREIGN KEY (sealed_by_id) REFERENCES user (id);
CREATE INDEX case_sealed_by_user ON "case" (sealed_by_id) WHERE sealed_by_id IS NOT NULL;

-- migrate:down
DROP INDEX case_sealed_by_user;
ALTER TABLE "case" DROP CONSTRAINT case_sealed_by;
