-- The key that made a key; NULL where the operator or a JWT did. Keys end with the one that made them.
ALTER TABLE keys ADD COLUMN parent TEXT;
CREATE INDEX keys_by_parent ON keys (parent) WHERE parent IS NOT NULL;

-- What is forgotten in the end is found by its version, which is when it was destroyed.
DROP INDEX sandboxes_destroyed;
CREATE INDEX sandboxes_destroyed ON sandboxes (version) WHERE state = 'destroyed';
