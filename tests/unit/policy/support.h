/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/config.h"

/* A vendor and an admin folder in a temporary directory, and what loading them gave. */
typedef struct Tree {
        char root[64];
        char *vendor, *admin;
        Config *config;
        ConfigFaults faults;
} Tree;

void tree_open(Tree *t);
void tree_close(Tree *t); /* removes everything */
/* Writes root/PATH ("admin/services.d/x.conf"), folders included. */
void tree_write(Tree *t, const char *path, const char *text);
void tree_write_bytes(Tree *t, const char *path, const void *bytes, size_t n);
char *tree_path(const Tree *t, const char *path);
/* Loads; what an earlier load gave is released. */
int tree_load(Tree *t);
/* Exactly one fault, "PATH:LINE: TEXT" with PATH below root. */
void assert_single_fault(const Tree *t, const char *expected);
/* The n-th fault. */
void assert_fault(const Tree *t, size_t n, const char *expected);
