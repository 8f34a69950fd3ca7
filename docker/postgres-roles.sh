#!/bin/sh
# Makes Loom's roles and database when the cluster is made; the postgres image runs it.
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname=postgres \
    --output=/dev/null --file=/loom/etc/postgres-roles.sql
