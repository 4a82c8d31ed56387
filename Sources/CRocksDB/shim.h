#pragma once
#include <rocksdb/c.h>
#include "crc32c.h"
