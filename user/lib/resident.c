/* SPDX-License-Identifier: BSD-2-Clause */
#include "resident.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is written to, be it by the dynamic linker alone, is in segments that are writable. */
static bool is_only_read(const ElfW(Phdr) *segment)
{
	return segment->p_type == PT_LOAD && !(segment->p_flags & PF_W);
}

/* Whole pages. The last one of a segment may be the first one of the next. */
static void unmap_pages(const struct dl_phdr_info *object, const ElfW(Phdr) *segment)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = object->dlpi_addr + segment->p_vaddr;
	const uintptr_t first = (begin + page - 1) / page * page, end = (begin + segment->p_memsz) / page * page;

	if (first >= end)
		return;
	/* No harm if it stays. NOLINTNEXTLINE(performance-no-int-to-ptr): the dynamic linker says it as a number */
	madvise((void *)first, end - first, MADV_DONTNEED);
}

static int trim_object(struct dl_phdr_info *object, size_t size, void *arg)
{
	const ElfW(Phdr) *headers = object->dlpi_phdr;

	if (object->dlpi_addr == getauxval(AT_SYSINFO_EHDR))
		return 0;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		if (is_only_read(&headers[i]))
			unmap_pages(object, &headers[i]);
	}
	return 0;
}

void resident_trim(void)
{
	malloc_trim(0);
	dl_iterate_phdr(trim_object, NULL);
}
