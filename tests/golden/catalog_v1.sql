BEGIN TRANSACTION;
CREATE TABLE appends (
    volume      TEXT NOT NULL REFERENCES volumes,
    job         TEXT NOT NULL REFERENCES jobs,
    agent       TEXT NOT NULL,
    checkpoints INTEGER NOT NULL,
    PRIMARY KEY (volume, job, agent)
);
CREATE TABLE copies (
    id          INTEGER PRIMARY KEY,
    object      TEXT NOT NULL REFERENCES objects,
    job         TEXT NOT NULL REFERENCES jobs,
    writer      TEXT NOT NULL REFERENCES jobs,
    agent       TEXT NOT NULL,
    agent_group TEXT NOT NULL,
    drive       TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('complete', 'partial', 'missing', 'damaged', 'retired')),
    UNIQUE (object, agent, job)
);
INSERT INTO "copies" VALUES(1,'01a20451-956e-7970-a1af-786ba14e0e51','01a20451-9568-74b2-bc88-b69049c3bdeb','01a20451-9568-74b2-bc88-b69049c3bdeb','BMA124','nightly','R1','complete');
CREATE TABLE jobs (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    groups      TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('running', 'complete', 'partial', 'failed', 'interrupted')),
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    report      TEXT NOT NULL
);
INSERT INTO "jobs" VALUES('01a20451-9568-74b2-bc88-b69049c3bdeb','backup','["nightly"]','complete',1700000000123456789,1700000001123456789,'{}');
CREATE TABLE objects (
    id          TEXT PRIMARY KEY,
    source      INTEGER NOT NULL REFERENCES sources,
    job         TEXT NOT NULL REFERENCES jobs,
    content     INTEGER NOT NULL,
    level       INTEGER NOT NULL,
    as_of       INTEGER NOT NULL,
    parent      TEXT,
    outcome     TEXT NOT NULL CHECK (outcome IN ('reading', 'whole', 'failed', 'interrupted')),
    blocks      INTEGER,
    bytes       INTEGER,
    files       INTEGER,
    digest      TEXT,
    troubles    TEXT NOT NULL
);
INSERT INTO "objects" VALUES('01a20451-956e-7970-a1af-786ba14e0e51',1,'01a20451-9568-74b2-bc88-b69049c3bdeb',1,0,1700000000123456789,NULL,'whole',12,12000,12,NULL,'[]');
CREATE TABLE receipts (
    id          INTEGER PRIMARY KEY,
    copy        INTEGER NOT NULL REFERENCES copies,
    volume      TEXT NOT NULL REFERENCES volumes,
    job         TEXT NOT NULL REFERENCES jobs,
    filemark    INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    blocks      INTEGER NOT NULL,
    bytes       INTEGER,
    runs        BLOB NOT NULL,
    given_at    INTEGER NOT NULL,
    UNIQUE (copy, volume, filemark)
);
INSERT INTO "receipts" VALUES(1,1,'01a20451-9568-7509-9fc1-50411a1c127d','01a20451-9568-74b2-bc88-b69049c3bdeb',14,0,9,10,NULL,X'01789C636040055C509A054A030000E0000F',1795368785264013220);
INSERT INTO "receipts" VALUES(2,1,'01a20451-9568-7509-9fc1-50411a1c127d','01a20451-9568-74b2-bc88-b69049c3bdeb',17,10,11,2,NULL,X'01789C636080002E28CD04A5F9A1340001A8001C',1795368785269772590);
CREATE TABLE sources (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE
);
INSERT INTO "sources" VALUES(1,'D1');
CREATE TABLE volumes (
    id           TEXT PRIMARY KEY,
    label        TEXT NOT NULL UNIQUE,
    drive        TEXT NOT NULL,
    cartridge    TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('appendable', 'full', 'damaged', 'retired')),
    sequence     INTEGER NOT NULL,
    previous     TEXT,
    block_bytes  INTEGER NOT NULL,
    made_at      INTEGER NOT NULL,
    end_position INTEGER NOT NULL,
    UNIQUE (drive, cartridge)
);
INSERT INTO "volumes" VALUES('01a20451-9568-7509-9fc1-50411a1c127d','R1-0001','R1','R1-0001','appendable',1,NULL,524288,1795368785257360288,18);
CREATE INDEX objects_by_source ON objects (source, as_of);
CREATE INDEX objects_by_job ON objects (job);
CREATE INDEX copies_by_job ON copies (job);
CREATE INDEX copies_by_writer ON copies (writer);
CREATE INDEX receipts_by_volume ON receipts (volume, filemark);
COMMIT;
PRAGMA application_id = 1414287181;
PRAGMA user_version = 1;
