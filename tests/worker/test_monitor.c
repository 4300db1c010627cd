/* The parsers on fixtures of their own, the sampler on a directory that looks like a host. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/monitor.h"

START_TEST(test_cpu_counts_all_but_idle_and_iowait)
{
    monitor_cpu_t cpu;
    ck_assert(monitor_parse_stat("cpu  10 20 30 400 50 6 7 8 99 99\ncpu0 1 1 1 1\n", &cpu));
    ck_assert_uint_eq(cpu.total, 531);
    ck_assert_uint_eq(cpu.busy, 81);
    ck_assert(!monitor_parse_stat("cpu  10 20\n", &cpu));
    ck_assert(!monitor_parse_stat("", &cpu));
    ck_assert_uint_eq(cpu.busy, 81);
    ck_assert_uint_eq(monitor_permille((monitor_cpu_t){0, 0}, (monitor_cpu_t){1, 4}), 250);
    ck_assert_uint_eq(monitor_permille((monitor_cpu_t){5, 9}, (monitor_cpu_t){9, 13}), 1000);
    ck_assert_uint_eq(monitor_permille((monitor_cpu_t){5, 9}, (monitor_cpu_t){4, 20}), 0);
    ck_assert_uint_eq(monitor_permille((monitor_cpu_t){5, 9}, (monitor_cpu_t){6, 9}), 0);
}
END_TEST

START_TEST(test_memory_available_falls_back_to_free)
{
    uint64_t total = 0, left = 0;
    ck_assert(monitor_parse_meminfo("MemTotal: 100 kB\nMemFree: 7 kB\nMemAvailable:  50 kB\n",
                                    &total, &left));
    ck_assert_uint_eq(total, 102400);
    ck_assert_uint_eq(left, 51200);
    ck_assert(monitor_parse_meminfo("MemTotal: 100 kB\nMemFree: 7 kB\n", &total, &left));
    ck_assert_uint_eq(left, 7168);
    ck_assert(!monitor_parse_meminfo("MemFree: 7 kB\n", &total, &left));
}
END_TEST

START_TEST(test_load_and_open_files)
{
    uint64_t load = 0, open_n = 0;
    ck_assert(monitor_parse_loadavg("12.07 0.5 0.1 1/80 99\n", &load));
    ck_assert_uint_eq(load, 1207);
    ck_assert(monitor_parse_loadavg("0.30 0.5 0.1 1/80 99\n", &load));
    ck_assert_uint_eq(load, 30);
    ck_assert(!monitor_parse_loadavg("none", &load));
    ck_assert(monitor_parse_file_nr("1000\t40\t99999\n", &open_n));
    ck_assert_uint_eq(open_n, 960);
    ck_assert(!monitor_parse_file_nr("1 2 3\n", &open_n));
}
END_TEST

START_TEST(test_only_whole_disks_count)
{
    uint64_t in = 0, out = 0;
    ck_assert(monitor_parse_diskstats("   7 0 loop0 1 0 1 0 1 0 1 0 0 0 0\n"
                                      "   8 0 sda 1 0 10 0 1 0 100 0 0 0 0\n"
                                      "   8 1 sda1 1 0 1 0 1 0 1 0 0 0 0\n"
                                      " 259 0 nvme0n1 1 0 20 0 1 0 200 0 0 0 0\n"
                                      " 259 1 nvme0n1p2 1 0 1 0 1 0 1 0 0 0 0\n"
                                      " 179 0 mmcblk0 1 0 40 0 1 0 400 0 0 0 0\n"
                                      " 179 1 mmcblk0p1 1 0 1 0 1 0 1 0 0 0 0\n"
                                      " 254 0 vda 1 0 80 0 1 0 800 0 0 0 0 5 4 3\n"
                                      " 253 0 zram0 1 0 1 0 1 0 1 0 0 0 0\n"
                                      " 252 0 dm-0 1 0 1 0 1 0 1 0 0 0 0\n"
                                      "   9 0 md127 1 0 1 0 1 0 1 0 0 0 0\n",
                                      &in, &out));
    ck_assert_uint_eq(in, 150 * 512);
    ck_assert_uint_eq(out, 1500 * 512);
    ck_assert(!monitor_parse_diskstats("", &in, &out));
}
END_TEST

START_TEST(test_the_memory_group_is_found_in_both_versions)
{
    bool two;
    char path[32];
    ck_assert(monitor_parse_cgroup("0::/a/b\n", &two, path, sizeof path));
    ck_assert(two);
    ck_assert_str_eq(path, "/a/b");
    ck_assert(monitor_parse_cgroup("9:name=systemd:/x\n4:cpu,memory:/m\n0::/u\n", &two, path,
                                   sizeof path));
    ck_assert(!two);
    ck_assert_str_eq(path, "/m");
    ck_assert(!monitor_parse_cgroup("4:memoryless:/m\n", &two, path, sizeof path));
    ck_assert(!monitor_parse_cgroup("0::/a path that is too long for its place\n", &two, path, 8));
    ck_assert(!monitor_parse_cgroup("0:", &two, path, sizeof path));
    uint64_t limit = 0;
    ck_assert(monitor_parse_limit("max\n", &limit) && limit == UINT64_MAX);
    ck_assert(monitor_parse_limit("9223372036854771712\n", &limit) && limit == UINT64_MAX);
    ck_assert(monitor_parse_limit("4096\n", &limit) && limit == 4096);
    ck_assert(!monitor_parse_limit("", &limit));
    ck_assert(monitor_parse_inactive("anon 1\ninactive_file 77\n", &limit) && limit == 77);
    ck_assert(monitor_parse_inactive("inactive_file 1\ntotal_inactive_file 88\n", &limit));
    ck_assert_uint_eq(limit, 88);
}
END_TEST

/* ---- a host made of files
 * --------------------------------------------------------------------------------------- */

static char root[64];

static void put(const char *path, const char *text)
{
    char whole[256];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(whole, 0755);
        *at = '/';
    }
    FILE *file = fopen(whole, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/stint_host_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(test_rates_are_between_two_samples)
{
    make_root();
    put("/proc/stat", "cpu 0 0 0 100 0 0 0 0\n");
    put("/proc/diskstats", "8 0 sda 1 0 10 0 1 0 100 0 0 0 0\n");
    put("/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n");
    put("/proc/loadavg", "0.50 0 0 1/1 1\n");
    put("/proc/sys/fs/file-nr", "70 0 100\n");
    monitor_t *monitor = monitor_new(root);
    monitor_sample_t sample;
    monitor_sample(monitor, 1000, &sample);
    ck_assert_uint_eq(sample.cpu_permille, 0);
    ck_assert_uint_eq(sample.disk_read_rate, 0);
    ck_assert_uint_eq(sample.memory_total, 1024000);
    ck_assert_uint_eq(sample.memory_available, 512000);
    ck_assert_uint_eq(sample.load_centi, 50);
    ck_assert_uint_eq(sample.files_open, 70);
    put("/proc/stat", "cpu 30 0 0 170 0 0 0 0\n");
    put("/proc/diskstats", "8 0 sda 1 0 14 0 1 0 108 0 0 0 0\n");
    monitor_sample(monitor, 3000, &sample);
    ck_assert_uint_eq(sample.cpu_permille, 300);
    ck_assert_uint_eq(sample.disk_read_rate, 1024);
    ck_assert_uint_eq(sample.disk_write_rate, 2048);
    monitor_destroy(&monitor);
    remove_root();
}
END_TEST

START_TEST(test_the_smaller_of_host_and_group_counts)
{
    make_root();
    put("/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "400000\n"); /* the limit stands one above */
    put("/sys/fs/cgroup/a/memory.current", "350000\n");
    put("/sys/fs/cgroup/a/memory.stat", "inactive_file 50000\n");
    monitor_t *monitor = monitor_new(root);
    monitor_sample_t sample;
    monitor_sample(monitor, 1, &sample);
    ck_assert_uint_eq(sample.memory_total, 400000);
    ck_assert_uint_eq(sample.memory_available, 100000);
    put("/proc/self/cgroup", "4:memory:/gone\n"); /* version 1, the path hidden by a container */
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "300000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "300000\n");
    monitor_sample(monitor, 2, &sample);
    ck_assert_uint_eq(sample.memory_total, 300000);
    ck_assert_uint_eq(sample.memory_available, 1); /* none, but known */
    monitor_destroy(&monitor);
    remove_root();
}
END_TEST

START_TEST(test_absent_files_are_unknown_and_this_host_is_known)
{
    monitor_t *nowhere = monitor_new("/nonexistent"), *here = monitor_new("");
    monitor_sample_t sample, none = {0};
    monitor_sample(nowhere, 1, &sample);
    ck_assert_mem_eq(&sample, &none, sizeof sample);
    monitor_sample(here, 1, &sample);
    ck_assert_uint_gt(sample.memory_total, 0);
    ck_assert_uint_le(sample.memory_available, sample.memory_total);
    ck_assert_uint_gt(sample.memory_available, 0);
    monitor_destroy(&nowhere);
    monitor_destroy(&here);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *all = tcase_create("all");
    tcase_add_test(all, test_cpu_counts_all_but_idle_and_iowait);
    tcase_add_test(all, test_memory_available_falls_back_to_free);
    tcase_add_test(all, test_load_and_open_files);
    tcase_add_test(all, test_only_whole_disks_count);
    tcase_add_test(all, test_the_memory_group_is_found_in_both_versions);
    tcase_add_test(all, test_rates_are_between_two_samples);
    tcase_add_test(all, test_the_smaller_of_host_and_group_counts);
    tcase_add_test(all, test_absent_files_are_unknown_and_this_host_is_known);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed_n = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed_n ? EXIT_FAILURE : EXIT_SUCCESS;
}
