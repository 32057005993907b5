-- The tables of yoyo-migrations 9.0.0 as a release that used it left them.

CREATE TABLE "_yoyo_log" (
    "id" VARCHAR(36), "migration_hash" VARCHAR(64), "migration_id" VARCHAR(255), "operation" VARCHAR(10),
    "username" VARCHAR(255), "hostname" VARCHAR(255), "comment" VARCHAR(255), "created_at_utc" TIMESTAMP,
    PRIMARY KEY ("id")
);
CREATE TABLE "_yoyo_version" ("version" INT NOT NULL PRIMARY KEY, "installed_at_utc" TIMESTAMP);
CREATE TABLE "_yoyo_migration" (
    "migration_hash" VARCHAR(64), "migration_id" VARCHAR(255), "applied_at_utc" TIMESTAMP,
    PRIMARY KEY ("migration_hash")
);
INSERT INTO "_yoyo_version" VALUES (2, '2026-11-30 09:40:40.1');
INSERT INTO "_yoyo_migration" VALUES
    ('9f9187136e4669d1c398f63a5facc0f3b5af27868b7a9d70dd70261632971dc0', 'housepredict-0001-predictions', '2026-11-30 09:40:40.02'),
    ('404faedc430dd901efb0c044ffda6caf042e61928d2895e6733cfb77e2ab496b', 'housepredict-0002-lab-ids', '2026-11-30 09:40:40.03'),
    ('15306646a979373edcc387962beb555ffdf1ca13f7e6763913f05d5fdff0e869', 'housepredict-0003-intervals', '2026-11-30 09:40:40.04'),
    ('54508b9cd8c27685443924aede03c355727f5ecbdd53754144ebef4f3d42b2d6', 'housepredict-0004-model-versions', '2026-11-30 09:40:40.05'),
    ('6ef0feb1105441976d4a59f50ab4379580d3051ea7b1e909c2eb50ffcee0611b', 'housepredict-0005-generations', '2026-11-30 09:40:40.06'),
    ('42cddbf8bf994b6a683a893c2b6b2397e460970e5ea335040111a2f97a2ec4dc', 'housepredict-0006-trainings', '2026-11-30 09:40:40.07'),
    ('1488648d70014c7880c40fd2c663b6f78eb4ea452e21a72319814acc4ec009f4', 'housepredict-0007-sales', '2026-11-30 09:40:40.08'),
    ('b7d85e1e3a593702da0c536493f8d0364af77776af434920f37552bea6ff4338', 'housepredict-0008-erasures', '2026-11-30 09:40:40.09'),
    ('9fd08aba06296bc86080ba5e265023fafb24bee8831d57214c21644fe712064c', 'housepredict-0009-prediction-keys', '2026-11-30 09:40:40.10'),
    ('4c9efd32bccad442a349ff2f3e657db598eaf176ddbe08354774d6a469bca897', 'housepredict-0010-prune-watermark', '2026-11-30 09:40:40.11');
