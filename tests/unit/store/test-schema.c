/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From version to version (V2): each step is whole or not at all, each is taken once, and what there is no way from is refused. */

#include <signal.h>
#include <sys/wait.h>

#include "support.h"

static MDB_env *environment_of(Fixture *f) {
        return lmdb_of(f)->env;
}

/* Puts text behind each record of an agent: a step that is taken twice shows. */
static int append_to_agents(MDB_txn *txn, MDB_dbi dbi, const char *text) {
        MDB_val key, value;
        MDB_cursor *cursor;
        int r;

        r = mdb_cursor_open(txn, dbi, &cursor);
        while (r == 0 && (r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
                uint8_t longer[64], name[64];
                MDB_val changed = { value.mv_size + strlen(text), longer }, copy = { key.mv_size, name };

                if (*(uint8_t *)key.mv_data != RECORD_AGENT)
                        continue;
                memcpy(longer, value.mv_data, value.mv_size);
                memcpy(longer + value.mv_size, text, strlen(text));
                /* The put may move the page's bytes, those of the key too. */
                memcpy(name, key.mv_data, key.mv_size);
                r = mdb_cursor_put(cursor, &copy, &changed, MDB_CURRENT);
        }
        mdb_cursor_close(cursor);
        return r == MDB_NOTFOUND ? 0 : r;
}

static int step_one(MDB_txn *txn, MDB_dbi dbi) {
        return append_to_agents(txn, dbi, "+");
}

static int step_two(MDB_txn *txn, MDB_dbi dbi) {
        return append_to_agents(txn, dbi, "*");
}

static int step_fails(MDB_txn *txn, MDB_dbi dbi) {
        int r = append_to_agents(txn, dbi, "*");

        return r != 0 ? r : MDB_MAP_FULL;
}

static int step_is_killed(MDB_txn *txn, MDB_dbi dbi) {
        (void)append_to_agents(txn, dbi, "*");
        (void)raise(SIGKILL);
        return 0;
}

#define NOW  STORE_SCHEMA_VERSION
#define NEXT (STORE_SCHEMA_VERSION + 1)
#define LAST (STORE_SCHEMA_VERSION + 3)

/* In no order; the second skips a version, as a step may. */
static const SchemaMigration steps[] = { { NEXT, LAST, step_two }, { NOW, NEXT, step_one } };

static void each_step_is_taken_once_and_in_order(void **state) {
        Fixture *f = *state;

        assert_int_equal(put_text(f, 1, "a", "x"), 0);
        assert_int_equal(put_text(f, 1, "b", "y"), 0);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(schema_migrate(environment_of(f), LAST, steps, ELEMENTSOF(steps)), 0);
                assert_stored(f, 1, "a", "x+*");
                assert_stored(f, 1, "b", "y+*");
        }
        /* This vaultd does not know that version. */
        fixture_close(f);
        assert_int_equal(fixture_open(f, f->map_size), -EPROTONOSUPPORT);
}

static void failed_step_leaves_the_version_before(void **state) {
        static const SchemaMigration failing[] = { { NOW, NEXT, step_one }, { NEXT, LAST, step_fails } };
        Fixture *f = *state;

        assert_int_equal(put_text(f, 1, "a", "x"), 0);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(schema_migrate(environment_of(f), LAST, failing, ELEMENTSOF(failing)),
                                -ENOSPC);
                assert_stored(f, 1, "a", "x+");
        }
        assert_int_equal(schema_migrate(environment_of(f), LAST, steps, ELEMENTSOF(steps)), 0);
        assert_stored(f, 1, "a", "x+*");
}

static int killed_in_a_step(void *userdata) {
        static const SchemaMigration killing[] = { { NOW, NEXT, step_one }, { NEXT, LAST, step_is_killed } };
        const Fixture *f = userdata;
        MDB_env *env = NULL;
        char path[96];

        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        CHECK(mdb_env_create(&env) == 0);
        CHECK(mdb_env_open(env, path, MDB_NOSUBDIR, 0600) == 0);
        (void)schema_migrate(env, LAST, killing, ELEMENTSOF(killing));
        return 1;
}

static void killed_step_is_begun_anew(void **state) {
        Fixture *f = *state;
        MDB_env *env = NULL;
        char path[96];
        int status;

        assert_int_equal(put_text(f, 1, "a", "x"), 0);
        fixture_close(f);
        status = in_child(killed_in_a_step, f, NULL);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGKILL);

        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        assert_int_equal(mdb_env_create(&env), 0);
        assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
        assert_int_equal(schema_migrate(env, NEXT, steps, ELEMENTSOF(steps)), 0);
        assert_int_equal(schema_migrate(env, LAST, steps, ELEMENTSOF(steps)), 0);
        assert_int_equal(schema_migrate(env, NOW, NULL, 0), -EPROTONOSUPPORT);
        /* Back to ours by hand, so that the store opens it. */
        assert_int_equal(schema_write(env, NOW), 0);
        mdb_env_close(env);
        assert_int_equal(fixture_open(f, f->map_size), 0);
        assert_stored(f, 1, "a", "x+*");
}

static void version_without_a_way_is_refused_untouched(void **state) {
        Fixture *f = *state;

        assert_int_equal(put_text(f, 1, "a", "x"), 0);
        assert_int_equal(schema_migrate(environment_of(f), LAST, steps, 1), -EINVAL);
        assert_stored(f, 1, "a", "x");
        assert_int_equal(schema_write(environment_of(f), 0), 0);
        fixture_close(f);
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(each_step_is_taken_once_and_in_order),
                TEST(failed_step_leaves_the_version_before),
                TEST(killed_step_is_begun_anew),
                TEST(version_without_a_way_is_refused_untouched),
        };

        return RUN_TESTS("schema", tests);
}
